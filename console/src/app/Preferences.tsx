import { LANGUAGES, useLocale, type Language } from "../strings";
import { Select } from "../ui/Field";
import { chooseTheme, THEMES, useTheme, type Theme } from "./theme";

export function Preferences() {
  const { s, language, choose } = useLocale();
  const { theme } = useTheme();
  return (
    <div className="preferences">
      <Select
        label={s.app.language}
        value={language}
        options={Object.entries(LANGUAGES).map(([code, strings]) => [code, strings.name] as const)}
        onPick={(code) => choose(code as Language)}
      />
      <Select
        label={s.app.theme}
        value={theme}
        options={THEMES.map((name) => [name, s.app.themes[name]] as const)}
        onPick={(name) => chooseTheme(name as Theme)}
      />
    </div>
  );
}
