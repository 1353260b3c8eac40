import { useState } from "react";
import { dayName } from "../device/track";
import { serverNow } from "../live/clock";
import { useLocale } from "../strings";
import { Select } from "../ui/Field";

const DAYS = { week: 7, month: 30, quarter: 90 } as const;
type Span = keyof typeof DAYS;

export interface Range {
  span: Span;
  /** Both `YYYY-MM-DD`, the last one included. */
  from: string;
  to: string;
  choose: (span: Span) => void;
}

/** The last days, up to today. */
export function useRange(): Range {
  const [now] = useState(serverNow);
  const [span, choose] = useState<Span>("month");
  return { span, from: dayName(now, 1 - DAYS[span]), to: dayName(now), choose };
}

export function RangeSelect({ range }: { range: Range }) {
  const { s } = useLocale();
  return (
    <Select
      label={s.accuracy.range}
      value={range.span}
      options={(Object.keys(DAYS) as Span[]).map((each) => [each, s.accuracy.ranges[each]] as const)}
      onPick={(each) => range.choose(each as Span)}
    />
  );
}
