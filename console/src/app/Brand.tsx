export function Brand() {
  return (
    <span className="brand">
      <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
        <rect width="32" height="32" rx="8" className="brand-tile" />
        <path d="M16 5.5c4.6 5.4 7 9.3 7 12.6a7 7 0 0 1-14 0c0-3.3 2.4-7.2 7-12.6z" className="brand-drop" />
        <path d="M11.5 19.5h9" className="brand-line" />
      </svg>
      Milkrun
    </span>
  );
}
