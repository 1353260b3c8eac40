/** What an alert says of the truck and the stop (docs/notify.md), in the order in which it happens. */
export const KINDS = ["started", "10min", "5min", "delayed", "arrived", "skipped", "missed"] as const;
export type Kind = (typeof KINDS)[number];

/** What somebody who follows a site mostly wants to know. */
export const USUAL_KINDS: readonly Kind[] = ["10min", "5min", "delayed", "skipped", "missed"];
