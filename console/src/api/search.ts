import { call, type Ask } from "./client";

const PAGE = 1000;
const MOST_PAGES = 20;

/** The names of all devices that a search finds, as GET /v1/devices takes it. Throws the server's refusal of a bad one. */
export async function devicesWhere(query: { where?: string; label?: string[] }, signal?: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const ask = { query: { ...query, limit: PAGE, cursor }, ...(signal === undefined ? {} : { signal }) };
    const body: { items: { id: string }[]; next: string | null } = await call("get", "/v1/devices", ask as Ask<"get", "/v1/devices">);
    names.push(...body.items.map((item) => item.id));
    cursor = body.next;
    if (cursor === null) break;
  }
  return names;
}
