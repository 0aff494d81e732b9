"use strict";

// Swagger UI has a dark mode, and does not follow the preference of the reader by itself.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const applyMode = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", applyMode);
applyMode();

// The forms of the page use the origin from which the page was loaded.
fetch("/docs/openapi.json")
  .then((answer) => answer.json())
  .then((spec) => {
    window.SwaggerUIBundle({
      spec: { ...spec, servers: [{ url: window.location.origin }] },
      dom_id: "#api",
      deepLinking: true,
      defaultModelsExpandDepth: 0,
      docExpansion: "list",
      layout: "BaseLayout",
      persistAuthorization: false,
      tryItOutEnabled: false,
      validatorUrl: null,
    });
  });
