import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

/** A modal dialog: the browser keeps the focus inside and returns it, and Escape closes it. */
export function Dialog(props: {
  title: string;
  close(): void;
  wide?: boolean;
  children: ComponentChildren;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      class={props.wide ? "wide-dialog" : ""}
      aria-labelledby={id}
      onClose={props.close}
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
    >
      <header>
        <h2 id={id}>{props.title}</h2>
        <button onClick={() => dialog.current?.close()}>Close</button>
      </header>
      {props.children}
    </dialog>
  );
}
