// The player of a pair: its signals at the same position, switched without a gap.
//
// All clips of a way of hearing start together and keep running; a switch only moves their gains, within 5 ms. Clips come
// from a script, as base64: a page opened from a disk may load scripts, but not read files.
"use strict";

(() => {
  const root = document.querySelector("[data-player]");
  if (!root) return;
  const data = JSON.parse(document.getElementById("player-data").textContent);
  const find = (selector) => root.querySelector(selector);
  const findAll = (selector) => [...root.querySelectorAll(selector)];
  const [button, seek, time, loop, same, volume, files] =
    [".play", ".seek", ".time", ".loop", ".same", ".volume", ".files"].map(find);
  const FADE = 0.005;
  const LEAD = 0.1; // from starting the clips to hearing them, so that all of them are ready
  const PATIENCE = 3000; // milliseconds: without a sound device, resume() never answers
  const STEP = 0.5; // seconds, for the arrow keys

  let context = null;
  let master = null;
  let busy = false; // between a click on Play and the sound
  let playing = false;
  let position = 0; // seconds, while nothing plays
  let zero = 0; // time of the context at which position 0 was or would have been
  let begun = 0; // time of the context at which the clips start to be heard
  const matched = { file: true, heard: false };
  const waiting = {}; // way -> what to call with its clips
  const loading = {}; // way -> promise of its buffers
  const buffers = {}; // way -> decoded clips
  let voices = {}; // way -> what plays now: { since, list: [{ source, gain }] }

  const signal = () => Number(find("[name=signal]:checked").value);
  const way = () => find("[name=way]:checked").value;
  const say = (text) => { find("[role=status]").textContent = text; };
  const seconds = (value) => value.toFixed(1);
  const factor = () => 10 ** (Number(volume.value) / 20);
  // Between two samples a browser would interpolate, and dull the sound.
  const onGrid = (moment) => Math.round(moment * context.sampleRate) / context.sampleRate;
  const soon = () => onGrid(context.currentTime + LEAD);

  // Clips

  window.harnessClips = (which, clips) => waiting[which]?.(clips);

  function fetchScript(which) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = data.ways[which].script;
      script.onerror = () => reject(new Error("The sound of this page is missing: copy the report together with its folder “audio”."));
      waiting[which] = resolve;
      document.head.append(script);
    });
  }

  async function load(which) {
    loading[which] ??= fetchScript(which).then((clips) => Promise.all(clips.map((text) => {
      const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      return context.decodeAudioData(bytes.buffer).catch(() => {
        throw new Error("This browser cannot decode the clips.");
      });
    })));
    try {
      buffers[which] = await loading[which];
    } catch (error) {
      delete loading[which];
      throw error;
    }
  }

  async function wake() {
    const silent = new Error("No sound device answers.");
    if (!context) {
      try {
        context = new AudioContext();
      } catch {
        throw silent;
      }
      master = context.createGain();
      master.gain.value = factor();
      master.connect(context.destination);
    }
    const late = new Promise((_, reject) => setTimeout(reject, PATIENCE, silent));
    await Promise.race([context.resume(), late]);
  }

  function giveUp(error) {
    if (playing) halt(where());
    say(`${error.message} The players under “Files” may work all the same.`);
    files.open = true;
  }

  // Playing

  const passedSinceZero = () => Math.max(context.currentTime, begun) - zero;

  function where() {
    if (!playing) return position;
    const passed = passedSinceZero();
    return loop.checked ? passed % data.seconds : Math.min(passed, data.seconds);
  }

  function loudness(which, index) {
    if (which !== way() || index !== signal()) return 0;
    const clip = data.ways[which].clips[index];
    return matched[which] ? clip.matched : clip.gain;
  }

  function start(which, when) {
    const list = buffers[which].map((buffer, index) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop: loop.checked, loopEnd: data.seconds });
      const gain = new GainNode(context, { gain: 0 });
      source.connect(gain).connect(master);
      gain.gain.setValueAtTime(0, when);
      gain.gain.linearRampToValueAtTime(loudness(which, index), when + FADE);
      source.start(when, onGrid((when - zero) % data.seconds));
      return { source, gain: gain.gain };
    });
    voices[which] = { since: when, list };
    list[0].source.onended = () => {
      if (voices[which]?.list === list) halt(0);
    };
  }

  function begin(at) {
    const when = soon();
    begun = when;
    zero = when - onGrid(at);
    playing = true;
    for (const which of Object.keys(buffers)) start(which, when);
    show();
    requestAnimationFrame(tick);
  }

  function moveTo(gain, value, when = context.currentTime) {
    const now = gain.value;
    gain.cancelScheduledValues(context.currentTime);
    gain.setValueAtTime(now, when);
    gain.linearRampToValueAtTime(value, when + FADE);
  }

  function fade() {
    // What was loaded just now starts a moment later: what is heard goes on until then.
    const when = Math.max(context.currentTime, voices[way()].since);
    for (const [which, { list }] of Object.entries(voices)) {
      list.forEach(({ gain }, index) => moveTo(gain, loudness(which, index), when));
    }
  }

  const running = () => Object.values(voices).flatMap(({ list }) => list);

  function halt(at) {
    position = at;
    playing = false;
    for (const { source, gain } of running()) {
      moveTo(gain, 0);
      source.stop(context.currentTime + 2 * FADE);
    }
    voices = {};
    show();
  }

  async function play() {
    if (busy) return;
    busy = true;
    say("Loading …");
    try {
      await wake();
      await load(way());
      say("");
      for (const native of findAll("audio")) native.pause();
      begin(position >= data.seconds ? 0 : position);
    } catch (error) {
      giveUp(error);
    }
    busy = false;
  }

  function toggle() {
    if (playing) halt(where());
    else play();
  }

  function go(to) {
    const target = Math.min(Math.max(to, 0), data.seconds);
    if (playing) {
      halt(target);
      begin(target % data.seconds);
    } else {
      position = target;
      show();
    }
  }

  // Another signal, or another way of hearing, at the same position.
  async function choose() {
    show();
    const which = way();
    if (playing && !buffers[which]) {
      say("Loading …");
      try {
        await load(which);
      } catch (error) {
        giveUp(error);
        return;
      }
      say("");
    }
    // Meanwhile somebody may have stopped it, or chosen again.
    if (!playing) return;
    if (buffers[which] && !voices[which]) start(which, soon());
    if (voices[way()]) fade();
  }

  // What is seen

  function show() {
    const [which, index] = [way(), signal()];
    for (const view of findAll(".view")) view.hidden = view.dataset.way !== which || Number(view.dataset.signal) !== index;
    same.checked = matched[which];
    button.textContent = playing ? "Pause" : "Play";
    button.classList.toggle("playing", playing);
    place();
  }

  function place() {
    const now = where();
    seek.value = now;
    seek.setAttribute("aria-valuetext", `${seconds(now)} of ${seconds(data.seconds)} seconds`);
    time.textContent = `${seconds(now)} / ${seconds(data.seconds)} s`;
    find(".stack").style.setProperty("--at", String(now / data.seconds));
  }

  function tick() {
    if (!playing) return;
    place();
    requestAnimationFrame(tick);
  }

  // What people do

  button.addEventListener("click", toggle);
  seek.addEventListener("input", () => go(Number(seek.value)));
  for (const input of findAll("[name=signal], [name=way]")) input.addEventListener("change", choose);
  same.addEventListener("change", () => {
    matched[way()] = same.checked;
    if (playing) fade();
  });
  loop.addEventListener("change", () => {
    if (!playing) return;
    // Without the rounds that it has made, the position is the same either way.
    zero += data.seconds * Math.floor(passedSinceZero() / data.seconds);
    for (const { source } of running()) source.loop = loop.checked;
  });
  volume.addEventListener("input", () => {
    find(".decibels").textContent = `${volume.value.replace("-", "−")} dB`;
    if (master) moveTo(master.gain, factor());
  });
  for (const native of findAll("audio")) {
    native.addEventListener("play", () => {
      if (playing) halt(where());
      for (const other of findAll("audio")) if (other !== native) other.pause();
    });
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inside = event.target;
    const chosen = find(`[name=signal][value="${Number(event.key) - 1}"]`);
    if (/^[1-9]$/.test(event.key) && chosen) {
      chosen.checked = true;
      say(chosen.dataset.name);
      choose();
    } else if (event.key === " " && !inside.matches("button, a, summary, audio, [type=checkbox]")) {
      toggle();
    } else if (inside === seek && /^Arrow/.test(event.key)) {
      go(where() + (/Right|Up/.test(event.key) ? STEP : -STEP));
    } else {
      return;
    }
    event.preventDefault();
  });

  find(".live").hidden = false;
  seek.max = data.seconds;
  show();
})();
