/** What a real Karmada and Argosy's engine say otherwise, and why that is well (docs/fleet.md); such lines are not compared. */
export const known: readonly { readonly line: RegExp; readonly why: string }[] = [
  {
    line: /already exists in (the )?cluster cloud and/,
    why: "both leave alone what a member has of its own; each says so in its words",
  },
];
