/** A few numbers side by side, each under its name. */
export function Figures({ facts }: { facts: readonly (readonly [name: string, value: string])[] }) {
  return (
    <dl className="figures">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
