import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError } from "../api";
import { Trouble } from "./basics";
import { Dialog } from "./dialog";

/** A button that asks before it deletes or cancels something. */
export function Confirm(props: {
  button: string;
  title: string;
  children: ComponentChildren;
  run(): Promise<void>;
}): JSX.Element {
  const [asked, setAsked] = useState(false);
  const [error, setError] = useState<ApiError>();
  const run = async (): Promise<void> => {
    try {
      await props.run();
      setAsked(false);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      setError(failed);
    }
  };
  return (
    <>
      <button
        onClick={() => {
          setError(undefined);
          setAsked(true);
        }}
      >
        {props.button} ...
      </button>
      {asked && (
        <Dialog title={props.title} close={() => setAsked(false)}>
          <p>{props.children}</p>
          {error && <Trouble error={error} />}
          <button class="danger" onClick={() => void run()}>
            {props.button}
          </button>
        </Dialog>
      )}
    </>
  );
}
