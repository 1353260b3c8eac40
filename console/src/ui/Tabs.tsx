import { Link } from "wouter";
import { useInSight } from "./useInSight";

interface Props {
  label: string;
  tabs: readonly { href: string; name: string; isHere: boolean }[];
}

/** The parts of a page, each with an address of its own. Where they do not all fit, the one that is shown is in sight. */
export function Tabs({ label, tabs }: Props) {
  const bar = useInSight(tabs.find((tab) => tab.isHere)?.href);
  return (
    <nav ref={bar} className="tabs" aria-label={label}>
      {tabs.map(({ href, name, isHere }) => (
        <Link key={href} href={href} aria-current={isHere ? "page" : undefined}>
          {name}
        </Link>
      ))}
    </nav>
  );
}
