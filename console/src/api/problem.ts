/** What the API says when it refuses (RFC 9457), and what the console makes of no answer at all. */
export interface Problem {
  /** HTTP status; 0 = no answer came. */
  status: number;
  /** Stable name of the reason, such as `insufficient_scope`; `offline` = no answer came. */
  code: string;
  detail: string;
  requestId: string | null;
  retryAfterS: number | null;
  errors: { at: string; message: string }[];
}

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
    this.problem = problem;
  }
}

/** Any thrown value as a problem, so that every page can show it in the same way. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ApiError) return error.problem;
  const detail = error instanceof Error ? error.message : String(error);
  return { status: 0, code: "unexpected", detail, requestId: null, retryAfterS: null, errors: [] };
}

export function unreachable(): ApiError {
  return new ApiError({ status: 0, code: "offline", detail: "", requestId: null, retryAfterS: null, errors: [] });
}

/** What a page sees for itself before it asks the server. */
export function invalid(detail: string): ApiError {
  return new ApiError({ status: 422, code: "invalid_request", detail, requestId: null, retryAfterS: null, errors: [] });
}

interface Body {
  code?: unknown;
  detail?: unknown;
  title?: unknown;
  request_id?: unknown;
  errors?: unknown;
}

/** The refusal in a response that is not 2xx; a proxy's HTML page becomes a problem as well. */
export async function refusal(response: Response): Promise<ApiError> {
  let body: Body = {};
  try {
    body = (await response.json()) as Body;
  } catch {
    body = {};
  }
  const retry = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return new ApiError({
    status: response.status,
    code: typeof body.code === "string" ? body.code : `http_${response.status}`,
    detail: text(body.detail) ?? text(body.title) ?? "",
    requestId: text(body.request_id) ?? response.headers.get("X-Request-Id"),
    retryAfterS: Number.isFinite(retry) ? retry : null,
    errors: fieldErrors(body.errors),
  });
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function fieldErrors(value: unknown): { at: string; message: string }[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: { at?: unknown; message?: unknown }) =>
    typeof item.message === "string" ? [{ at: String(item.at), message: item.message }] : [],
  );
}
