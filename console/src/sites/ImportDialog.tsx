import { useState } from "react";
import { invalid } from "../api/problem";
import { useRouteChanges } from "../api/routes";
import { useSiteChanges, type ImportReport } from "../api/sites";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { ProblemNote } from "../ui/states";
import { fileType } from "./model";

/** docs/trips.md tells what each may hold. */
const COLUMNS = {
  sites: "code, name, kind, lat, lon, radius_m, timezone, windows, contact, email, phone",
  routes: "route, name, weekdays, starts_at, timezone, device, site, after_s, service_s, quantity",
};

interface Chosen {
  text: string;
  type: string;
}

/** A file of sites or routes: looked at first, with a report of every line that cannot be used, then written. */
export function ImportDialog({ what, onClose }: { what: "sites" | "routes"; onClose: () => void }) {
  const { s } = useLocale();
  const sites = useSiteChanges();
  const routes = useRouteChanges();
  const load = what === "sites" ? sites.load : routes.load;
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const [report, setReport] = useState<{ body: ImportReport; isWritten: boolean } | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const run = async (file: Chosen, isDryRun: boolean) => {
    setBusy(true);
    setError(null);
    try {
      setReport({ body: await load(file.text, file.type, isDryRun), isWritten: !isDryRun });
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const choose = async (file: File) => {
    setReport(null);
    const text = await file.text();
    const type = fileType(file.name, text);
    if (type === null) {
      setChosen(null);
      setError(invalid(s.imports.unknownType));
      return;
    }
    setChosen({ text, type });
    await run({ text, type }, true);
  };
  const good = report === null ? 0 : report.body.added + report.body.changed;
  return (
    <Dialog title={what === "sites" ? s.sites.import : s.routes.import} isWide onClose={onClose}>
      <p className="muted">{s.imports.lead}</p>
      <p className="small muted">
        {s.imports.columns}: <code>{COLUMNS[what]}</code>
      </p>
      <input
        type="file"
        aria-label={s.imports.file}
        accept=".csv,.txt,.json,.geojson,text/csv,application/geo+json"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file !== undefined) void choose(file);
        }}
      />
      {error !== null && <ProblemNote error={error} />}
      {report !== null && <Report {...report} />}
      <div className="dialog-foot">
        <Button onClick={onClose}>{report?.isWritten === true ? s.states.close : s.states.cancel}</Button>
        {report?.isWritten !== true && (
          <Button kind="primary" isBusy={isBusy} disabled={chosen === null || good === 0} onClick={() => chosen !== null && void run(chosen, false)}>
            {report !== null && report.body.errors.length > 0 ? s.imports.writeGood : s.imports.write}
          </Button>
        )}
      </div>
    </Dialog>
  );
}

function Report({ body, isWritten }: { body: ImportReport; isWritten: boolean }) {
  const { s, f } = useLocale();
  const [made, changed, same] = [f.integer(body.added), f.integer(body.changed), f.integer(body.unchanged)];
  return (
    <>
      <p className={body.errors.length === 0 || isWritten ? "note good" : "note"} role="status">
        {isWritten ? s.imports.written(made, changed, same) : s.imports.checked(made, changed, same, f.integer(body.errors.length))}
      </p>
      {body.errors.length > 0 && (
        <>
          <h3>{s.imports.errors}</h3>
          <div className="table-wrap import-errors">
            <table aria-label={s.imports.errors}>
              <thead>
                <tr>
                  {[s.imports.line, s.imports.code, s.imports.why].map((head) => (
                    <th key={head} scope="col">
                      {head}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {body.errors.map(({ line, code, message }) => (
                  <tr key={`${line} ${code} ${message}`}>
                    <td>{f.integer(line)}</td>
                    <td>
                      <code>{code}</code>
                    </td>
                    <td className="wrap">{message}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </>
  );
}
