// Swagger UI over our own document; requests carry the CSRF token of the page.
"use strict";
window.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("swagger");
  SwaggerUIBundle({
    url: box.dataset.address,
    domNode: box,
    deepLinking: true,
    validatorUrl: null,
    requestInterceptor: (request) => {
      const token = document.querySelector('meta[name="csrf-token"]');
      if (token) request.headers["X-CSRF-Token"] = token.content;
      return request;
    },
  });
});
