import type { Ref } from "react";
import { Icon } from "./Icon";

interface Props {
  label: string;
  /** What may be typed; the label where that says it. */
  hint?: string;
  value: string;
  onText: (text: string) => void;
  ref?: Ref<HTMLInputElement>;
}

export function SearchField({ label, hint = label, value, onText, ref }: Props) {
  return (
    <div className="search">
      <Icon name="search" />
      <input ref={ref} type="search" aria-label={label} placeholder={hint} value={value} onChange={(event) => onText(event.target.value)} />
    </div>
  );
}
