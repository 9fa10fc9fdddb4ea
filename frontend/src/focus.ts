/** Keeps the focus in a component whose button is about to go, unless it is elsewhere already. */
export function keepFocus(root: HTMLElement | null): void {
  const { activeElement, body } = document;
  if (root && (activeElement === null || activeElement === body || root.contains(activeElement))) root.focus();
}
