-- SPDX-License-Identifier: MIT
--
-- wait.step: the host of tasks under the built-in stepper (fastpg.stepper), which somebody drives by
-- `fastpg.step` or `fastpg.run`.

return require("fastpg.stepper").host
