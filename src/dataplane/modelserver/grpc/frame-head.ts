/** Bytes before each message. */
export const FRAME_HEAD = 5;
