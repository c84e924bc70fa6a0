// What is behind the page: here the chat of `sioedge serve --demo`. cmd/sioedge/examples
// has others.

export const edge = "";  // origin of the server; "": the page's own
export const login = ""; // where {nick} is answered by {token}, by POST; "": nobody needs one
