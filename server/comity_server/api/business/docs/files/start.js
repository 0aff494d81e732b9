"use strict";

// Swagger UI has a dark dress, and does not look by itself whether it is wanted.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();

// The forms of the page talk to the server that it came from, by whatever name that was reached.
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
