import { call, type Schemas } from "./client";

export type Role = Schemas["Role"];
export type Scope = Schemas["Scope"];
export type Me = Schemas["SignedIn"];
export type SignIn = Schemas["SignIn"];

export const readSession = () => call("get", "/v1/session", {});
export const signIn = (form: SignIn) => call("post", "/v1/session", { body: form });
export const signOut = () => call("delete", "/v1/session", {});
