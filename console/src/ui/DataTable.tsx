import type { ReactNode } from "react";
import { useLocale } from "../strings";
import { Button } from "./Button";
import { Empty, Loading, ProblemNote } from "./states";

export interface Column<T> {
  head: string;
  cell: (row: T) => ReactNode;
  className?: string;
}

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
      <div className="table-wrap">
        <table aria-label={label}>
          <thead>
            <tr>
              {columns.map((column) => (
                <th key={column.head} scope="col" className={column.className}>
                  {column.head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {pages.items.map((row) => (
              <tr key={keyOf(row)}>
                {columns.map((column) => (
                  <td key={column.head} className={column.className}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages.isError && <ProblemNote error={pages.error} onRetry={() => pages.fetchNextPage()} />}
      {pages.hasNextPage && !pages.isError && (
        <Button isBusy={pages.isFetchingNextPage} onClick={() => pages.fetchNextPage()}>
          {s.states.more}
        </Button>
      )}
    </>
  );
}
