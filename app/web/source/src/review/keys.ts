/** Keys of the review. The help lists exactly these. */
import { useLayoutEffect, useRef } from "preact/hooks";

export interface Shortcut {
  keys: string[];
  shown: string;
  text: string;
  run(key: string): void;
}

/** Nothing happens while a field has the focus, or with another modifier than Shift. */
export function useShortcuts(shortcuts: Shortcut[], active: boolean): void {
  const latest = useRef(shortcuts);
  latest.current = shortcuts;
  // At once, not after the next frame: the next key may follow within it.
  useLayoutEffect(() => {
    if (!active) return;
    const pressed = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (target.closest("input, select, textarea, [contenteditable]")) return;
      const control = event.ctrlKey || event.metaKey;
      if (event.altKey) return;
      // A button under the focus has Space and Enter for itself; the photos have keys of their own.
      const button = target.closest("button, a, summary");
      if ([" ", "Enter"].includes(event.key) && button && !button.matches(".suspect")) return;
      const name = (control ? "Ctrl+" : "") + (event.shiftKey ? "Shift+" : "") + event.key.toLowerCase();
      const plain = (control ? "Ctrl+" : "") + event.key.toLowerCase();
      const found =
        latest.current.find((each) => each.keys.includes(name)) ??
        latest.current.find((each) => !/^[a-z]$/.test(event.key.toLowerCase()) && each.keys.includes(plain));
      if (!found) return;
      event.preventDefault();
      found.run(event.key);
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [active]);
}
