// Express: GET /picture?prompt=… answers with the PNG.
// Each image costs money, so add your own authentication and limits.
import express, { type ErrorRequestHandler } from "express";
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse();
const app = express();

app.get("/picture", async (request, response) => {
  // If the caller disconnects before the image is done, the job is cancelled.
  const left = new AbortController();
  response.once("close", () => left.abort());
  const prompt = String(request.query["prompt"] ?? "");
  const image = await client.generate(prompt, { signal: left.signal });
  response.type(image.type).send(image.bytes);
});

const answerError: ErrorRequestHandler = (error, _request, response, _next) => {
  if (isLayerDiffuseError(error, "invalid_input")) {
    response.status(400).json({ error: error.message });
  } else if (isLayerDiffuseError(error, "queue_timeout")) {
    response.status(503).json({ error: "No GPU is free. Try again later." });
  } else {
    console.error(error);
    response.status(502).json({ error: "No image could be generated." });
  }
};
app.use(answerError);

const server = app.listen(Number(process.env["PORT"] ?? 3000), () => console.log("Listening on", server.address()));
