"use strict";

// Trusted Types: text may become elements only where it is the HTML of Markdown, with these elements and attributes.
// Any other text is shown as text.
const ATTRIBUTE = `(?: (?:class|title|target|rel|align|start)="[^"<>]*"| href="(?:https?://|/|#)[^"<>]*")`;
const ELEMENTS = "a|blockquote|br|code|del|div|em|h[1-6]|hr|li|ol|p|pre|span|strong|table|tbody|td|th|thead|tr|ul";
const HARMLESS = new RegExp(`^(?:[^<>]|</?(?:${ELEMENTS})${ATTRIBUTE}*\\s*/?>)*$`);
const asText = (text) => text.replace(/[<>&]/g, (sign) => `&#${sign.charCodeAt(0)};`);

if (window.trustedTypes !== undefined) {
  window.trustedTypes.createPolicy("default", { createHTML: (text) => (HARMLESS.test(text) ? text : asText(text)) });
}
