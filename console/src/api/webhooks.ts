import { call, type Schemas } from "./client";

export type Webhook = Schemas["WebhookBody"];
export type WebhookDelivery = Schemas["DeliveryBody"];
type Kinds = Schemas["NewWebhook"]["kinds"];

/** What a webhook may be told of (docs/notify.md). */
export const WEBHOOK_KINDS: Kinds = [
  "alert.10min",
  "alert.5min",
  "alert.delayed",
  "alert.started",
  "alert.arrived",
  "alert.skipped",
  "alert.missed",
  "trip.changed",
  "stop.changed",
];

const ONE = "/v1/webhooks/{webhook}";
const path = (webhook: Webhook) => ({ webhook: webhook.id });

export const addWebhook = (body: Schemas["NewWebhook"]) => call("post", "/v1/webhooks", { body });

/** A list's version is not the ETag of one: whoever sees "disabled" and enables it means just that. */
export const setWebhookStatus = (webhook: Webhook, status: Webhook["status"]) => call("patch", ONE, { path: path(webhook), body: { status } });

export const removeWebhook = (webhook: Webhook) => call("delete", ONE, { path: path(webhook) });

export const rotateWebhook = (webhook: Webhook) => call("post", "/v1/webhooks/{webhook}/secret", { path: path(webhook), body: {} });

export const testWebhook = (webhook: Webhook) => call("post", "/v1/webhooks/{webhook}/test", { path: path(webhook) });

export const redeliver = (webhook: Webhook, delivery: WebhookDelivery) =>
  call("post", "/v1/webhooks/{webhook}/deliveries/{delivery}/redeliver", { path: { webhook: webhook.id, delivery: delivery.id } });
