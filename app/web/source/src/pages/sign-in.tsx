import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, post } from "../api";
import { Title, Trouble } from "../parts/basics";
import type { Session } from "../types";

/** Sign in by an API key, or by the link that `dspt serve` prints. */
export function SignIn(props: {
  link: string | null;
  signedIn: (session: Session) => void;
}): JSX.Element {
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const send = async (body: { key: string } | { link: string }): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      props.signedIn(await post<Session>("/session", body));
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
      setBusy(false);
    }
  };
  useEffect(() => {
    if (!props.link) return;
    history.replaceState(null, "", "#/sign-in"); // the token is of no use any more
    void send({ link: props.link });
  }, []);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const key = new FormData(event.currentTarget as HTMLFormElement).get("key");
    if (typeof key === "string" && key) void send({ key });
  };
  return (
    <>
      <Title note="The key stays with the service; the browser keeps a cookie for seven days.">
        Sign in
      </Title>
      {error && <Trouble error={error} />}
      <form class="narrow" onSubmit={submit}>
        <label>
          API key
          <input name="key" type="password" autocomplete="current-password" required />
        </label>
        <button class="main" disabled={busy}>
          Sign in
        </button>
      </form>
      <p class="quiet">
        The operator of this service creates a key with <code>dspt keys create NAME</code>.
      </p>
    </>
  );
}
