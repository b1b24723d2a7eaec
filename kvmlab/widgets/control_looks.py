"""How the control panel looks: colours, icons, words and style sheet."""

from __future__ import annotations

from kvmlab.plots.drawing import GUEST, KERNEL, PROCESS, SYSTEM, TOOL, Role

# The colours of the states are those of the state diagram (`kvmlab.plots.statechart`).
COLOURS: dict[str, Role] = {
    "shut off": SYSTEM,
    "running": GUEST,
    "paused": PROCESS,
    "saved": KERNEL,
    "crashed": TOOL,
}
# What is where: its CPUs, and its memory.
WHEREABOUTS = {
    "shut off": ("none", "none"),
    "running": ("running", "in the host's memory"),
    "paused": ("stopped", "in the host's memory"),
    "saved": ("none", "in a file, for the next start"),
    "in shutdown": ("running its last programs", "in the host's memory"),
    "pmsuspended": ("asleep, by the guest's own wish", "in the host's memory"),
    "crashed": ("none", "lost"),
}
ICONS = {
    "start": "play",
    "shutdown": "power-off",
    "reboot": "refresh",
    "suspend": "pause",
    "resume": "step-forward",
    "managed_save": "save",
    "destroy": "plug",
}
STYLE = """<style>
.kvmlab-control { max-width: 960px; color: var(--jp-ui-font-color1, #1f2933); }
.kvmlab-control .kvmlab-guest { text-align: left; padding: 0 12px; border: 2px solid transparent;
  border-radius: 6px; overflow: hidden; text-overflow: ellipsis; height: 34px; line-height: 30px; }
.kvmlab-control .kvmlab-chosen { border-color: var(--jp-brand-color1, #1976d2);
  font-weight: bold; }
.kvmlab-control button:focus-visible { outline: 3px solid var(--jp-brand-color1, #1976d2);
  outline-offset: 1px; }
.kvmlab-control .widget-textarea { flex-direction: column; height: auto; }
.kvmlab-control .widget-textarea > label { text-align: left; width: auto; }
.kvmlab-control textarea { width: 100%; font-family: var(--jp-code-font-family, monospace);
  font-size: var(--jp-code-font-size, 13px); line-height: 1.4; }
.kvmlab-control .widget-label { color: inherit; }
.kvmlab-control .widget-html-content { line-height: 1.5; }
.kvmlab-card table { line-height: 1.6; }
.kvmlab-card th { text-align: left; font-weight: normal; padding: 0 18px 0 0;
  color: var(--jp-ui-font-color2, #55606e); }
.kvmlab-card td { padding: 0; }
.kvmlab-bar { height: 6px; max-width: 420px; border-radius: 3px; overflow: hidden;
  background: var(--jp-border-color2, #d9d5cb); margin: 4px 0; }
.kvmlab-bar div { height: 100%; background: var(--jp-brand-color1, #1976d2); }
@keyframes kvmlab-fill { from { width: 0 } to { width: 100% } }
@keyframes kvmlab-sweep { from { transform: translateX(-100%) } to { transform: translateX(340%) } }
@media (prefers-reduced-motion: reduce) { .kvmlab-sweep { animation: none !important } }
</style>"""
