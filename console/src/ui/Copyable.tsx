import { useRef, useState } from "react";
import { useLocale } from "../strings";
import { IconButton } from "./Button";

/** A value with a button that copies it. */
export function Copyable({ value }: { value: string }) {
  const { s } = useLocale();
  const [isCopied, setCopied] = useState(false);
  const text = useRef<HTMLElement>(null);
  const copy = () => {
    put(value, text.current).then(() => setCopied(true), () => undefined);
  };
  return (
    <p className="secret">
      <code ref={text}>{value}</code>
      <IconButton icon="copy" label={isCopied ? s.states.copied : s.states.copy} onClick={copy} />
      <span className="sr-only" role="status">
        {isCopied ? s.states.copied : ""}
      </span>
    </p>
  );
}

/** Browsers have a clipboard on https and localhost alone; elsewhere the value is selected for the reader to copy. */
async function put(value: string, shown: HTMLElement | null): Promise<void> {
  if ("clipboard" in navigator) return navigator.clipboard.writeText(value);
  if (shown !== null) window.getSelection()?.selectAllChildren(shown);
  throw new Error("this page may not copy");
}
