import { useEffect, useRef, type RefObject } from "react";

/** For a bar of links that may be wider than the screen: the link of `here` is moved into sight. */
export function useInSight(here: string | undefined): RefObject<HTMLElement | null> {
  const bar = useRef<HTMLElement>(null);
  useEffect(() => {
    const link = bar.current?.querySelector<HTMLElement>("[aria-current]");
    // The bar alone is scrolled, and not the page with it.
    if (link) bar.current?.scrollTo({ left: link.offsetLeft + link.offsetWidth / 2 - bar.current.clientWidth / 2 });
  }, [here]);
  return bar;
}
