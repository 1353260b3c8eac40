import { createContext, use, useEffect, useMemo, useState, type ReactNode } from "react";
import { remembered, remember } from "../app/memory";
import { de } from "./de";
import { en, type Strings } from "./en";
import { formatFor, type Format } from "./format";

export type Language = "en" | "de";
export type { Strings } from "./en";

export const LANGUAGES: Record<Language, Strings> = { en, de };

interface Locale {
  language: Language;
  choose: (language: Language) => void;
  s: Strings;
  f: Format;
}

const LocaleContext = createContext<Locale | null>(null);

function preferred(): Language {
  const saved = remembered("language");
  if (saved === "en" || saved === "de") return saved;
  return navigator.language.toLowerCase().startsWith("de") ? "de" : "en";
}

export function LocaleProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(preferred);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const locale = useMemo(() => {
    const s = LANGUAGES[language];
    const choose = (next: Language) => {
      remember("language", next);
      setLanguage(next);
    };
    return { language, choose, s, f: formatFor(s.locale, s.compass) };
  }, [language]);
  return <LocaleContext value={locale}>{children}</LocaleContext>;
}

export function useLocale(): Locale {
  const locale = use(LocaleContext);
  if (locale === null) throw new Error("useLocale outside of LocaleProvider");
  return locale;
}
