import type { Phase } from "./model";

interface Words {
  locale: string;
  phases: Record<Phase, string>;
  for: (name: string) => string;
  inMinutes: (minutes: number) => string;
  band: (from: string, to: string) => string;
  before: (stops: number) => string;
  overHint: string;
  soon: string;
  planned: (time: string) => string;
  aged: (minutes: number) => string;
  detour: string;
  guess: string;
  map: (distance: string) => string;
  you: string;
  truck: string;
  live: string;
  lost: string;
  loading: string;
  expired: { title: string; hint: string };
  unknown: { title: string; hint: string };
  broken: { title: string; hint: string };
  retry: string;
  until: (time: string) => string;
}

const en: Words = {
  locale: "en-GB",
  phases: {
    waiting: "The truck has not set out yet",
    coming: "The truck is on its way to you",
    near: "The truck is almost there",
    here: "The truck is here",
    over: "The truck is no longer on its way to you",
  },
  for: (name) => `Arrival at ${name}`,
  inMinutes: (minutes) => (minutes === 0 ? "any moment" : minutes === 1 ? "in 1 minute" : `in ${minutes} minutes`),
  band: (from, to) => `Most likely between ${from} and ${to}`,
  before: (stops) => (stops === 0 ? "You are the next stop" : stops === 1 ? "1 stop before you" : `${stops} stops before you`),
  overHint: "It was there, or it does not come this time. If you still wait, ask whoever sent you this link.",
  soon: "The time comes with its first positions.",
  planned: (time) => `Planned for ${time}`,
  aged: (minutes) => `Nothing was heard of the truck for ${minutes === 1 ? "a minute" : `${minutes} minutes`}. The time may be off.`,
  detour: "The truck is on another way than usual. The time may change.",
  guess: "This is a first estimate. It gets better as the truck drives.",
  map: (distance) => `The truck is ${distance} away from you as the crow flies`,
  you: "You",
  truck: "Truck",
  live: "Live",
  lost: "No connection. Trying again …",
  loading: "Loading …",
  expired: { title: "This link has ended", hint: "It was for one visit of the truck. Ask for a new one if you still wait." },
  unknown: { title: "This link does not work (any more)", hint: "It may have ended. Look whether it was copied in full, or ask for a new one." },
  broken: { title: "That did not work", hint: "The page tries again by itself." },
  retry: "Try again",
  until: (time) => `This link works until ${time}.`,
};

const de: Words = {
  locale: "de-DE",
  phases: {
    waiting: "Der Wagen ist noch nicht losgefahren",
    coming: "Der Wagen ist auf dem Weg zu Ihnen",
    near: "Der Wagen ist gleich da",
    here: "Der Wagen ist da",
    over: "Der Wagen ist nicht mehr auf dem Weg zu Ihnen",
  },
  for: (name) => `Ankunft bei ${name}`,
  inMinutes: (minutes) => (minutes === 0 ? "jeden Moment" : minutes === 1 ? "in 1 Minute" : `in ${minutes} Minuten`),
  band: (from, to) => `Am wahrscheinlichsten zwischen ${from} und ${to}`,
  before: (stops) => (stops === 0 ? "Sie sind als Nächste dran" : stops === 1 ? "1 Halt vor Ihnen" : `${stops} Halte vor Ihnen`),
  overHint: "Er war da, oder er kommt diesmal nicht. Wenn Sie noch warten, fragen Sie, wer Ihnen diesen Link geschickt hat.",
  soon: "Die Zeit kommt mit seinen ersten Positionen.",
  planned: (time) => `Geplant um ${time}`,
  aged: (minutes) => `Seit ${minutes === 1 ? "einer Minute" : `${minutes} Minuten`} ist vom Wagen nichts zu hören. Die Zeit kann abweichen.`,
  detour: "Der Wagen fährt anders als sonst. Die Zeit kann sich ändern.",
  guess: "Das ist eine erste Schätzung. Sie wird besser, während der Wagen fährt.",
  map: (distance) => `Der Wagen ist ${distance} Luftlinie von Ihnen entfernt`,
  you: "Sie",
  truck: "Wagen",
  live: "Live",
  lost: "Keine Verbindung. Neuer Versuch …",
  loading: "Wird geladen …",
  expired: { title: "Dieser Link ist abgelaufen", hint: "Er galt für einen Besuch des Wagens. Fragen Sie nach einem neuen, wenn Sie noch warten." },
  unknown: { title: "Dieser Link geht nicht (mehr)", hint: "Vielleicht ist er abgelaufen. Sehen Sie nach, ob er vollständig ist, oder fragen Sie nach einem neuen." },
  broken: { title: "Das hat nicht geklappt", hint: "Die Seite versucht es von selbst wieder." },
  retry: "Noch einmal versuchen",
  until: (time) => `Dieser Link gilt bis ${time}.`,
};

export const LANGUAGES = { en, de };
export type { Words };

/** German for whoever reads it, English for everybody else. */
export function wordsFor(languages: readonly string[]): Words {
  const first = languages.find((each) => /^(de|en)\b/i.test(each));
  return first?.toLowerCase().startsWith("de") === true ? de : en;
}
