import { useState } from "react";
import { useFollowing, useMyPreferences, usePreferenceChanges, type Follow, type MyPreferences } from "../api/notices";
import { useAllSites } from "../api/sites";
import { invalid, problemOf } from "../api/problem";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Field, Select } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { Loading, ProblemNote } from "../ui/states";
import { KINDS, USUAL_KINDS } from "./kinds";

/** When one is told of what: quiet hours, and the sites one follows. */
export function Preferences() {
  const { s } = useLocale();
  const mine = useMyPreferences();
  return (
    <>
      <p className="muted">{s.alerts.preferences.lead}</p>
      {mine.isPending && <Loading />}
      {mine.isError && <ProblemNote error={mine.error} onRetry={() => void mine.refetch()} />}
      {mine.isSuccess && <Quiet mine={mine.data.data} etag={mine.data.etag} />}
      <Follows />
    </>
  );
}

function Quiet({ mine, etag }: { mine: MyPreferences; etag: string | null }) {
  const { s, f } = useLocale();
  const words = s.alerts.preferences;
  const { save } = usePreferenceChanges();
  const [isBusy, setBusy] = useState(false);
  const [isSaved, setSaved] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const submit = async (form: FormData) => {
    const [from, to, timezone] = [textOf(form, "from"), textOf(form, "to"), textOf(form, "timezone")];
    setSaved(false);
    if ((from === "") !== (to === "")) {
      setError(invalid(words.halfQuiet));
      return;
    }
    setBusy(true);
    setError(null);
    try {
      await save(mine, { quiet: from === "" ? null : { from, to }, timezone: timezone === "" ? null : timezone }, etag);
      setSaved(true);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  return (
    <section className="panel" aria-label={words.quiet}>
      <h2>{words.quiet}</h2>
      <p className="muted">{words.quietHint}</p>
      <form
        className="toolbar"
        onSubmit={(event) => {
          event.preventDefault();
          void submit(new FormData(event.currentTarget));
        }}
      >
        <Field label={words.from} name="from" type="time" defaultValue={mine.quiet?.from ?? ""} />
        <Field label={words.to} name="to" type="time" defaultValue={mine.quiet?.to ?? ""} />
        <Field label={words.timezone} name="timezone" defaultValue={mine.timezone ?? ""} placeholder={f.zone} autoComplete="off" />
        <Button kind="primary" submits isBusy={isBusy}>
          {words.save}
        </Button>
      </form>
      {isSaved && (
        <p className="note good" role="status">
          {words.saved}
        </p>
      )}
      {error !== null && (problemOf(error).status === 412 ? <p className="note">{s.problems.codes.precondition_failed}</p> : <ProblemNote error={error} />)}
    </section>
  );
}

function Follows() {
  const { s } = useLocale();
  const words = s.alerts.preferences;
  const follows = useFollowing();
  const sites = useAllSites();
  const { unfollow } = usePreferenceChanges();
  const [editing, setEditing] = useState<Follow | "new" | null>(null);
  const [error, setError] = useState<unknown>(null);
  const nameOf = (site: string) => sites.data?.find((one) => one.id === site)?.name ?? site;
  return (
    <section className="panel" aria-label={words.follows}>
      <div className="section-head">
        <h2>{words.follows}</h2>
        <Button icon="plus" disabled={!sites.isSuccess || sites.data.length === 0} onClick={() => setEditing("new")}>
          {words.follow}
        </Button>
      </div>
      <p className="muted">{words.followsHint}</p>
      {follows.isPending && <Loading />}
      {follows.isError && <ProblemNote error={follows.error} onRetry={() => void follows.refetch()} />}
      {error !== null && <ProblemNote error={error} />}
      {follows.isSuccess && follows.data.length === 0 && <p className="muted">{words.noFollows}</p>}
      <ul className="follows">
        {follows.data?.map((follow) => (
          <li key={follow.id}>
            <span className="name">{nameOf(follow.site)}</span>
            <span className="muted small">{follow.kinds.map((kind) => s.alerts.kinds[kind] ?? kind).join(", ")}</span>
            <span className="row-actions">
              <Button icon="edit" aria-label={words.editOf(nameOf(follow.site))} onClick={() => setEditing(follow)}>
                {words.edit}
              </Button>
              <Button
                aria-label={words.unfollowOf(nameOf(follow.site))}
                onClick={() => {
                  setError(null);
                  void unfollow(follow).catch(setError);
                }}
              >
                {words.unfollow}
              </Button>
            </span>
          </li>
        ))}
      </ul>
      {editing !== null && <FollowForm follow={editing === "new" ? null : editing} name={editing === "new" ? "" : nameOf(editing.site)} onClose={() => setEditing(null)} />}
    </section>
  );
}

function FollowForm({ follow, name, onClose }: { follow: Follow | null; name: string; onClose: () => void }) {
  const { s } = useLocale();
  const words = s.alerts.preferences;
  const sites = useAllSites();
  const { follow: begin, refollow } = usePreferenceChanges();
  const wanted = follow?.kinds ?? USUAL_KINDS;
  return (
    <FormDialog
      title={follow === null ? words.follow : name}
      action={s.states.save}
      onClose={onClose}
      onSubmit={(form) => {
        const kinds = KINDS.filter((kind) => form.get(kind) !== null);
        return follow === null ? begin(textOf(form, "site"), kinds) : refollow(follow, kinds);
      }}
    >
      {follow === null && <Select label={s.alerts.site} name="site" options={(sites.data ?? []).map((site) => [site.id, site.name] as const)} />}
      <fieldset className="rows">
        <legend>{words.kinds}</legend>
        {KINDS.map((kind) => (
          <label key={kind} className="check">
            <input type="checkbox" name={kind} defaultChecked={wanted.includes(kind)} /> {s.alerts.kinds[kind]}
          </label>
        ))}
      </fieldset>
    </FormDialog>
  );
}
