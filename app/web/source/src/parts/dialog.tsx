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
  const closed = useRef(false);
  // At once, not after the next frame: the next key already belongs to the dialog.
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => {
      // One that is only removed keeps the focus, and takes it along.
      closed.current = true;
      shown?.close();
    };
  }, []);
  // And the key after Escape to the page, for which the event `close` comes too late.
  const close = (): void => {
    if (closed.current) return;
    closed.current = true;
    dialog.current?.close();
    props.close();
  };
  return (
    <dialog
      ref={dialog}
      class={props.wide ? "wide-dialog" : ""}
      aria-labelledby={id}
      onCancel={close}
      onClose={close}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <header>
        <h2 id={id}>{props.title}</h2>
        <button onClick={close}>Close</button>
      </header>
      {props.children}
    </dialog>
  );
}
