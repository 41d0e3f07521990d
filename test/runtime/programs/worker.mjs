// workerd: the scenarios named in a binding, as `workerd test` runs them.
import { play } from "./scenarios.mjs";

export default {
  async test(_controller, { names, plan }) {
    console.log(JSON.stringify(await play(JSON.parse(names), JSON.parse(plan))));
  },
};
