import { useMemo, type RefObject } from "react";
import { useLocale } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Select } from "../ui/Field";
import { Icon } from "../ui/Icon";
import { SearchField } from "../ui/SearchField";
import { Empty, Loading } from "../ui/states";
import { countMotions, isFiltered, labelsOf, NO_FILTER, type Filter } from "./filter";
import { FleetList } from "./FleetList";
import { MOTIONS, STATUSES, type Motion, type Vehicle } from "./model";
import { MotionGlyph } from "./MotionGlyph";
import { WhereSearch } from "./WhereSearch";

interface Props {
  all: readonly Vehicle[];
  shown: readonly Vehicle[];
  isFilled: boolean;
  now: number;
  filter: Filter;
  onFilter: (filter: Filter) => void;
  selected: string | null;
  onSelect: (name: string) => void;
  search: RefObject<HTMLInputElement | null>;
}

/** The fleet as a list: search, states with their counts, filters, rows. */
export function FleetPanel({ all, shown, isFilled, now, filter, onFilter, selected, onSelect, search }: Props) {
  const { s, f } = useLocale();
  return (
    <section className="fleet-panel" aria-label={s.fleet.title}>
      <div className="fleet-head">
        <SearchField
          ref={search}
          label={s.fleet.search}
          hint={`${s.fleet.searchHint}  ( / )`}
          value={filter.text}
          onText={(text) => onFilter({ ...filter, text })}
        />
        <MotionChips all={all} now={now} filter={filter} onFilter={onFilter} />
        <Choices all={all} filter={filter} onFilter={onFilter} />
        <div className="fleet-count">
          <span role="status">{s.fleet.count(f.integer(shown.length), f.integer(all.length))}</span>
          {isFiltered(filter) && (
            <button type="button" className="link" onClick={() => onFilter(NO_FILTER)}>
              {s.fleet.clear}
            </button>
          )}
        </div>
      </div>
      {!isFilled && <Loading />}
      {isFilled && all.length === 0 && <Empty title={s.fleet.empty} hint={s.fleet.emptyHint} />}
      {all.length > 0 && shown.length === 0 && (
        <Empty title={s.fleet.noMatch} hint={s.fleet.noMatchHint} icon="filter">
          <Button onClick={() => onFilter(NO_FILTER)}>{s.fleet.clear}</Button>
        </Empty>
      )}
      {shown.length > 0 && <FleetList vehicles={shown} now={now} selected={selected} onSelect={onSelect} />}
    </section>
  );
}

type FilterProps = Pick<Props, "all" | "filter" | "onFilter">;

function MotionChips({ all, now, filter, onFilter }: FilterProps & { now: number }) {
  const { s, f } = useLocale();
  const counts = useMemo(() => countMotions(all, now), [all, now]);
  const toggle = (motion: Motion) => {
    const motions = new Set(filter.motions);
    if (!motions.delete(motion)) motions.add(motion);
    onFilter({ ...filter, motions });
  };
  return (
    <div className="chips" role="group" aria-label={s.fleet.motion}>
      {MOTIONS.map((motion) => (
        <button
          key={motion}
          type="button"
          className="chip"
          aria-pressed={filter.motions.has(motion)}
          title={s.motionHint[motion]}
          onClick={() => toggle(motion)}
        >
          <MotionGlyph motion={motion} />
          <span>{s.motion[motion]}</span>
          <span className="chip-count">{f.integer(counts[motion])}</span>
        </button>
      ))}
    </div>
  );
}

function Choices({ all, filter, onFilter }: FilterProps) {
  const { s } = useLocale();
  const labels = useMemo(() => labelsOf(all), [all]);
  const isOpen = filter.status !== null || filter.presence !== null || filter.label !== null || filter.found !== null;
  return (
    <details className="choices-fold" open={isOpen || undefined}>
      <summary>
        <Icon name="filter" size={14} /> {s.fleet.filters}
      </summary>
      <div className="choices-row">
        <Select
          label={s.fleet.status}
          value={filter.status ?? ""}
          options={[["", s.fleet.anyStatus], ...STATUSES.slice(0, 3).map((name) => [name, s.status[name]] as const)]}
          onPick={(status) => onFilter({ ...filter, status: status === "" ? null : status })}
        />
        <Select
          label={s.fleet.presence}
          value={filter.presence ?? ""}
          options={[
            ["", s.fleet.anyPresence],
            ["online", s.presence.online],
            ["offline", s.presence.offline],
          ]}
          onPick={(name) => onFilter({ ...filter, presence: name === "online" || name === "offline" ? name : null })}
        />
        <Select
          label={s.fleet.labels}
          value={filter.label ?? ""}
          options={[["", s.fleet.anyLabel], ...labels.map((label) => [label, label] as const)]}
          onPick={(label) => onFilter({ ...filter, label: label === "" ? null : label })}
        />
        {isOpen && (
          <IconButton
            icon="close"
            label={s.fleet.clear}
            onClick={() => onFilter({ ...filter, status: null, presence: null, label: null, found: null })}
          />
        )}
      </div>
      <WhereSearch key={filter.found?.where ?? ""} filter={filter} onFilter={onFilter} />
    </details>
  );
}
