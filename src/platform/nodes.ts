export async function startNodes(_: unknown): Promise<string> { return "none yet"; }
