import { type ErrorDetails, identify, LayerDiffuseError } from "./base.ts";

/* Errors with a request: before it is sent, on its way, or in its answer. */

/** The setup is wrong: no key, no endpoint, an unknown option, a key in a browser. */
export class ConfigurationError extends LayerDiffuseError {
  declare readonly name: "ConfigurationError";
  declare readonly code: "configuration";
  static {
    identify(ConfigurationError, "ConfigurationError", "configuration");
  }
}

/** One problem with an input. */
export interface InputIssue {
  /** Where the problem is, for example `["loras", 0, "name"]`. */
  path: readonly PropertyKey[];
  message: string;
}

/** The input is invalid. Nothing was sent. */
export class InvalidInputError extends LayerDiffuseError {
  declare readonly name: "InvalidInputError";
  declare readonly code: "invalid_input";
  static {
    identify(InvalidInputError, "InvalidInputError", "invalid_input");
  }
  readonly issues: readonly InputIssue[];

  constructor(issues: readonly InputIssue[], subject = "input") {
    const list = issues.map(({ path, message }) => (path.length > 0 ? `${path.join(".")}: ${message}` : message));
    super(`Invalid ${subject}. ${list.join("; ")}. Nothing was sent.`, { submitted: "no" });
    this.issues = issues;
  }
}

/** 401 or 403: the key is wrong or has no access to this endpoint. */
export class AuthenticationError extends LayerDiffuseError {
  declare readonly name: "AuthenticationError";
  declare readonly code: "authentication";
  static {
    identify(AuthenticationError, "AuthenticationError", "authentication");
  }
}

/** 400, 402, 413, 422 and other 4xx: the service refused the request. */
export class BadRequestError extends LayerDiffuseError {
  declare readonly name: "BadRequestError";
  declare readonly code: "bad_request";
  static {
    identify(BadRequestError, "BadRequestError", "bad_request");
  }
}

/** 404 for the endpoint itself. */
export class EndpointNotFoundError extends LayerDiffuseError {
  declare readonly name: "EndpointNotFoundError";
  declare readonly code: "endpoint_not_found";
  static {
    identify(EndpointNotFoundError, "EndpointNotFoundError", "endpoint_not_found");
  }
}

/** 429 until the time limit passed. */
export class RateLimitError extends LayerDiffuseError {
  declare readonly name: "RateLimitError";
  declare readonly code: "rate_limited";
  static {
    identify(RateLimitError, "RateLimitError", "rate_limited");
  }
  /** How many milliseconds the service asked you to wait, if it said so. */
  declare readonly retryAfter?: number;

  constructor(message: string, details: ErrorDetails & { retryAfter?: number | undefined } = {}) {
    super(message, { retryable: true, ...details });
  }
}

/** 5xx after all retries, or a 200 that contains only an error. */
export class ServerError extends LayerDiffuseError {
  declare readonly name: "ServerError";
  declare readonly code: "server";
  static {
    identify(ServerError, "ServerError", "server");
  }
  /** How many milliseconds the service asked you to wait, if it said so, as with a 503. */
  declare readonly retryAfter?: number;

  constructor(message: string, details: ErrorDetails & { retryAfter?: number | undefined } = {}) {
    super(message, details);
  }
}

/** No answer after all retries: the connection was refused or reset, or timed out. */
export class ConnectionError extends LayerDiffuseError {
  declare readonly name: "ConnectionError";
  declare readonly code: "connection";
  static {
    identify(ConnectionError, "ConnectionError", "connection");
  }
  /** `"no"`: the request certainly never reached the service. `"unknown"`: it may have. */
  declare readonly arrived: "no" | "unknown";

  constructor(message: string, details: ErrorDetails & { arrived: "no" | "unknown" }) {
    super(message, { retryable: true, ...details });
  }
}

/** The submission was sent, but no usable answer came back. A job may exist and may cost money, so it isn't sent again. */
export class SubmissionUnknownError extends LayerDiffuseError {
  declare readonly name: "SubmissionUnknownError";
  declare readonly code: "submission_unknown";
  static {
    identify(SubmissionUnknownError, "SubmissionUnknownError", "submission_unknown");
  }
}

/** The answer breaks the service's contract, or the output doesn't match your schema. */
export class InvalidResponseError extends LayerDiffuseError {
  declare readonly name: "InvalidResponseError";
  declare readonly code: "invalid_response";
  static {
    identify(InvalidResponseError, "InvalidResponseError", "invalid_response");
  }
  /** The first characters of the answer. */
  declare readonly excerpt?: string;

  constructor(message: string, details: ErrorDetails & { excerpt?: string | undefined } = {}) {
    super(message, details);
  }
}
