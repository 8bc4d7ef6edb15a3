import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

/** A modal dialog: the browser keeps the focus inside and returns it, and Escape closes it. */
export function Dialog(props: {
  title: string;
  close(): void;
  wide?: boolean;
  children: ComponentChildren;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // At once, not after the next frame: the next key already belongs to the dialog.
  useLayoutEffect(() => dialog.current?.showModal(), []);
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
