import { call, type Schemas } from "./client";

export type Role = Schemas["Role"];
export type Scope = Schemas["Scope"];
export type Me = Schemas["SignedIn"];
export type SignIn = Schemas["SignIn"];

export const readSession = () => call("get", "/v1/session", {});
export const signIn = (form: SignIn) => call("post", "/v1/session", { body: form });
export const signOut = () => call("delete", "/v1/session", {});

/** Ends every session of one's own; the answer is the new one's. */
export const changePassword = (body: Schemas["NewPassword"]) => call("post", "/v1/me/password", { body });
