-- SPDX-License-Identifier: MIT
--
-- wait.step: the host of tasks under the built-in stepper (fastpg.host.stepper), which somebody drives by
-- `fastpg.step` or `fastpg.run`.

return require("fastpg.host.stepper").host
