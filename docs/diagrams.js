// Draws the diagrams of a page. The 3 MB that this takes are loaded only by a page that has one.
const here = document.currentScript.src;

addEventListener("DOMContentLoaded", () => {
  const diagrams = document.querySelectorAll("pre.diagram");
  if (diagrams.length === 0) return;
  const script = document.createElement("script");
  script.src = new URL("mermaid.min.js", here).href;
  script.onload = () => {
    const isDark = document.body.dataset.mdColorScheme === "slate";
    const whole = { useMaxWidth: false }; // a wide diagram scrolls
    const theme = isDark ? "dark" : "neutral";
    mermaid.initialize({ startOnLoad: false, theme, flowchart: whole, sequence: whole, themeVariables: { fontSize: "13px" } });
    for (const diagram of diagrams) diagram.textContent = diagram.textContent.trim();
    mermaid.run({ nodes: diagrams });
  };
  document.head.append(script);
});
