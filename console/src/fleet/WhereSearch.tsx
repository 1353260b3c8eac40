import { useState } from "react";
import { devicesWhere } from "../api/search";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Field } from "../ui/Field";
import { ProblemNote } from "../ui/states";
import type { Filter } from "./filter";

interface Props {
  filter: Filter;
  onFilter: (filter: Filter) => void;
}

/** A search that the server answers: over what vehicles report and are wished, labels, presence, place. */
export function WhereSearch({ filter, onFilter }: Props) {
  const { s, f } = useLocale();
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const [text, setText] = useState(filter.found?.where ?? "");
  const submit = async () => {
    const where = text.trim();
    setError(null);
    if (where === "") {
      onFilter({ ...filter, found: null });
      return;
    }
    setBusy(true);
    try {
      onFilter({ ...filter, found: { where, names: new Set(await devicesWhere({ where })) } });
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      className="where"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Field
        label={s.search.label}
        hint={s.search.hint}
        value={text}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => setText(event.target.value)}
      />
      <Button submits isBusy={isBusy}>
        {s.search.go}
      </Button>
      {filter.found !== null && (
        <p className="wide small" role="status">
          {s.search.found(f.integer(filter.found.names.size))}{" "}
          <button
            type="button"
            className="link"
            onClick={() => {
              setText("");
              onFilter({ ...filter, found: null });
            }}
          >
            {s.search.clear}
          </button>
        </p>
      )}
      {error !== null && (
        <div className="wide">
          <ProblemNote error={error} />
        </div>
      )}
    </form>
  );
}
