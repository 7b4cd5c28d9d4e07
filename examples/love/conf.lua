-- SPDX-License-Identifier: MIT

function love.conf(t)
  t.identity, t.window.title = "fastpg-example", "fastpg"
  t.window.width, t.window.height = 320, 120
  t.modules.audio, t.modules.sound, t.modules.joystick, t.modules.physics = false, false, false, false
end
