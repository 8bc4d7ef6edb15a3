import type { Shortcut } from "./keys";

/** Everything that a person can do in a review; keys and buttons call the same. */
export interface Commands {
  accept(): void;
  keep(): void;
  drop(): void;
  clear(): void;
  nth(number: number): void;
  undo(): void;
  redo(): void;
  large(): void;
  find(): void;
  help(): void;
  all(): void;
  left(): void;
  right(): void;
  up(): void;
  down(): void;
}

export function shortcutsOf(commands: Commands): Shortcut[] {
  return [
    { shown: "A", keys: ["a"], text: "Accept the suggestion", run: commands.accept },
    { shown: "K", keys: ["k"], text: "Keep the label", run: commands.keep },
    { shown: "D", keys: ["d"], text: "Drop the photo", run: commands.drop },
    {
      shown: "1 to 9",
      keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"],
      text: "Give the class with this number",
      run: (key) => commands.nth(Number(key)),
    },
    { shown: "/", keys: ["/"], text: "Find a class, or make a new one", run: commands.find },
    { shown: "Delete", keys: ["delete", "backspace"], text: "Take the verdict back", run: commands.clear },
    { shown: "U or Ctrl+Z", keys: ["u", "Ctrl+z"], text: "Undo", run: commands.undo },
    { shown: "Shift+U or Ctrl+Y", keys: ["Shift+u", "Ctrl+y"], text: "Redo", run: commands.redo },
    { shown: "Arrows", keys: ["arrowleft"], text: "Move to another photo", run: commands.left },
    { shown: "Space", keys: [" "], text: "Large view", run: commands.large },
    { shown: "Ctrl+A", keys: ["Ctrl+a"], text: "Select all photos that are shown", run: commands.all },
    { shown: "?", keys: ["?"], text: "This list", run: commands.help },
    { shown: "", keys: ["arrowright"], text: "", run: commands.right },
    { shown: "", keys: ["arrowup"], text: "", run: commands.up },
    { shown: "", keys: ["arrowdown"], text: "", run: commands.down },
  ];
}
