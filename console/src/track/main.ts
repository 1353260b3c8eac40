import "./track.css";
import type { Told } from "./model";
import { Page } from "./page";
import { wordsFor } from "./words";
import { toldOf, type Sight } from "./wire";

const AGAIN_MS = 15_000;
const CLOCK_MS = 1000;

const words = wordsFor(navigator.languages);
document.documentElement.lang = words.locale.slice(0, 2);
const token = window.location.pathname.split("/").filter(Boolean).at(-1) ?? "";
const data = `/v1/track/${encodeURIComponent(token)}`;
const root = document.getElementById("track");
if (root === null) throw new Error("track.html has no #track");
const page = new Page(root, words);

let told: Told | null = null;
let isLive = false;
let stream: EventSource | null = null;
/** The server's clock less this one's, so that a wrong clock on a telephone makes no truck late. */
let aheadMs = 0;

const now = () => Date.now() + aheadMs;

function show(): void {
  if (told !== null) page.show(told, now(), isLive);
}

async function read(): Promise<void> {
  let response: Response;
  try {
    response = await fetch(data, { headers: { Accept: "application/json" }, credentials: "omit" });
  } catch {
    later();
    return;
  }
  if (response.status === 404 || response.status === 410) {
    end(response.status === 410);
    return;
  }
  if (!response.ok) {
    later();
    return;
  }
  take((await response.json()) as Sight, Date.parse(response.headers.get("Date") ?? ""));
  if (told?.state !== "over") follow();
}

function take(sight: Sight, serverAt: number): void {
  if (Number.isFinite(serverAt)) aheadMs = Math.abs(serverAt - Date.now()) > 5000 ? serverAt - Date.now() : 0;
  told = toldOf(sight);
  if (told.state === "over") stream?.close();
  show();
}

/** What the link tells comes by itself from now on; a line that the server refused is read again after a while. */
function follow(): void {
  stream?.close();
  const line = new EventSource(`${data}/stream`);
  stream = line;
  line.addEventListener("open", () => {
    isLive = true;
    show();
  });
  line.addEventListener("sight", (event) => take(JSON.parse(String(event.data)) as Sight, Number.NaN));
  line.addEventListener("over", () => {
    line.close();
    end(true);
  });
  line.addEventListener("error", () => {
    isLive = false;
    show();
    if (line.readyState !== EventSource.CLOSED) return;
    stream = null;
    setTimeout(() => void read(), AGAIN_MS);
  });
}

function later(): void {
  isLive = false;
  if (told === null) page.state(words.broken.title, words.broken.hint, () => void read());
  else show();
  setTimeout(() => void read(), AGAIN_MS);
}

function end(hasExpired: boolean): void {
  stream?.close();
  told = null;
  const { title, hint } = hasExpired ? words.expired : words.unknown;
  page.state(title, hint, null);
}

page.state(words.loading, "", null);
setInterval(show, CLOCK_MS);
window.addEventListener("resize", show);
void read();
