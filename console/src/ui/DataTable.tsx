import { useLocale } from "../strings";
import { Button } from "./Button";
import { Empty, Loading, ProblemNote } from "./states";
import { Table, type Column } from "./Table";

export type { Column } from "./Table";

interface Props<T> {
  label: string;
  columns: readonly Column<T>[];
  keyOf: (row: T) => string | number;
  emptyTitle: string;
  emptyHint?: string;
  /** A list of the API, as `usePages` gives it. */
  pages: {
    items: readonly T[];
    isPending: boolean;
    isError: boolean;
    error: unknown;
    refetch: () => unknown;
    hasNextPage: boolean;
    isFetchingNextPage: boolean;
    fetchNextPage: () => unknown;
  };
}

/** A list of the API as a table, with what there is to say when it loads, fails or is empty. */
export function DataTable<T>({ label, columns, keyOf, emptyTitle, emptyHint, pages }: Props<T>) {
  const { s } = useLocale();
  if (pages.isPending) return <Loading />;
  if (pages.isError && pages.items.length === 0) return <ProblemNote error={pages.error} onRetry={() => pages.refetch()} />;
  if (pages.items.length === 0) return <Empty title={emptyTitle} icon="list" {...(emptyHint === undefined ? {} : { hint: emptyHint })} />;
  return (
    <>
      <Table label={label} columns={columns} keyOf={keyOf} rows={pages.items} />
      {pages.isError && <ProblemNote error={pages.error} onRetry={() => pages.fetchNextPage()} />}
      {pages.hasNextPage && !pages.isError && (
        <Button isBusy={pages.isFetchingNextPage} onClick={() => pages.fetchNextPage()}>
          {s.states.more}
        </Button>
      )}
    </>
  );
}
