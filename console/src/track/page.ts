import { drawWay } from "./drawing";
import { agedMs, minutesTo, phaseOf, type Told } from "./model";
import type { Words } from "./words";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

interface Line {
  kind: string;
  text: string;
}

interface Lines {
  phase: string;
  time: string;
  in: string;
  more: Line[];
}

/** The page of one link, written into `root`; nothing of it but what the link tells. */
export class Page {
  private readonly root: HTMLElement;
  private readonly words: Words;
  private readonly length: Intl.NumberFormat;
  private readonly canvas = document.createElement("canvas");
  private shown = "";
  private drawn = "";

  constructor(root: HTMLElement, words: Words) {
    this.root = root;
    this.words = words;
    this.length = new Intl.NumberFormat(words.locale, { maximumFractionDigits: 1 });
    this.canvas.setAttribute("role", "img");
  }

  /** In place of everything: what is the matter, and a way on where there is one. */
  state(title: string, hint: string, onRetry: (() => void) | null): void {
    this.shown = "";
    const parts = [element("h1", "", title), element("p", "muted", hint)];
    const box = element("div", "state");
    box.setAttribute("role", "status");
    box.append(...parts);
    if (onRetry !== null) {
      const button = element("button", "", this.words.retry);
      button.type = "button";
      button.addEventListener("click", onRetry);
      box.append(button);
    }
    this.root.replaceChildren(box);
  }

  /** What the link tells, at `now`; drawn anew only where it reads otherwise. */
  show(told: Told, now: number, isLive: boolean): void {
    const lines = this.lines(told, now);
    const reads = JSON.stringify([lines, isLive, this.hasMap(told)]);
    if (reads !== this.shown) this.write(told, lines, isLive);
    this.shown = reads;
    if (told.truck === null || !this.hasMap(told)) return;
    const drawn = JSON.stringify([told.truck, this.canvas.clientWidth, dark.matches]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.canvas.setAttribute("aria-label", this.words.map(this.metres(metresBetween(told.at, told.truck))));
    drawWay(this.canvas, told.at, told.truck, this.words, (metres) => this.metres(metres));
  }

  private write(told: Told, lines: Lines, isLive: boolean): void {
    document.title = [lines.time, told.name, "Milkrun"].filter(Boolean).join(" · ");
    const card = element("section", "card");
    if (told.name !== "") card.append(element("p", "muted", this.words.for(told.name)));
    card.append(element("h1", "", lines.phase));
    if (lines.time !== "") card.append(element("p", "time", lines.time));
    if (lines.in !== "") card.append(element("p", "in", lines.in));
    for (const line of lines.more) card.append(element("p", line.kind, line.text));
    this.drawn = "";
    this.root.replaceChildren(card, ...(this.hasMap(told) ? [this.canvas] : []), this.foot(told, isLive));
  }

  private lines(told: Told, now: number): Lines {
    const { words } = this;
    const clock = (at: number) => this.clock(at, told.timezone);
    const phase = phaseOf(told, now);
    const more: Line[] = [];
    const { expected, plannedAt } = told;
    if (told.state === "coming") {
      if (expected === null) more.push({ kind: "", text: words.soon });
      else more.push({ kind: "", text: words.band(clock(expected.p10), clock(expected.p90)) });
      more.push({ kind: "before", text: words.before(told.before) });
      if (expected !== null) more.push(...this.doubts(told, now, expected.method));
    }
    if (told.state === "waiting" && told.before > 0) more.push({ kind: "before", text: words.before(told.before) });
    if ((told.state === "waiting" || told.state === "coming") && plannedAt !== null) {
      more.push({ kind: "muted", text: words.planned(clock(plannedAt)) });
    }
    if (told.state === "over") more.push({ kind: "muted", text: words.overHint });
    const eta = told.state === "coming" && expected !== null ? expected.eta : null;
    return {
      phase: words.phases[phase],
      time: eta === null ? "" : clock(Math.max(eta, now)),
      in: eta === null ? "" : words.inMinutes(minutesTo(eta, now)),
      more,
    };
  }

  /** What makes the time less sure than it looks. */
  private doubts(told: Told, now: number, method: string): Line[] {
    const aged = agedMs(told, now);
    if (aged !== null) return [{ kind: "warn", text: this.words.aged(Math.floor(aged / 60_000)) }];
    if (method === "detour") return [{ kind: "warn", text: this.words.detour }];
    return method === "guess" ? [{ kind: "muted small", text: this.words.guess }] : [];
  }

  private hasMap(told: Told): boolean {
    return told.truck !== null && (told.state === "coming" || told.state === "here");
  }

  private foot(told: Told, isLive: boolean): HTMLElement {
    const foot = element("p", "foot muted small");
    const dot = element("span", isLive ? "dot" : "dot lost");
    dot.setAttribute("aria-hidden", "true");
    foot.append(dot, element("span", "", isLive ? this.words.live : this.words.lost));
    foot.append(element("span", "", this.words.until(this.clock(told.expiresAt, told.timezone))));
    return foot;
  }

  private clock(at: number, timezone: string): string {
    return new Intl.DateTimeFormat(this.words.locale, { timeStyle: "short", timeZone: timezone }).format(at);
  }

  private metres(metres: number): string {
    return metres < 1000 ? `${this.length.format(Math.round(metres))} m` : `${this.length.format(metres / 1000)} km`;
  }
}

function metresBetween(a: { lat: number; lon: number }, b: { lat: number; lon: number }): number {
  const squeeze = Math.cos((a.lat * Math.PI) / 180);
  return Math.hypot((b.lon - a.lon) * squeeze, b.lat - a.lat) * 111_195;
}

function element<K extends keyof HTMLElementTagNameMap>(name: K, className: string, text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
}
