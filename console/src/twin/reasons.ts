import type { Strings } from "../strings";

/** Why a connection ended, in the reader's language; a reason that AWS IoT has added since is given as it is. */
export function reasonOf(code: string | null, s: Strings): string {
  if (code === null) return "";
  return (s.presenceDay.reasons as Record<string, string>)[code] ?? code;
}
