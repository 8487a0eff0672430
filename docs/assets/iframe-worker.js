// Search runs in a worker, and browsers start none for pages that are opened from disk. There, a hidden frame does its
// work. The theme's search looks for the name IFrameWorker, and for the script within the frame.
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.waiting = [];
    this.inner = frame.contentWindow;
    this.inner.postMessage = (data) => {
      setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })));
    };
    this.inner.importScripts = (...urls) =>
      urls.reduce((before, each) => before.then(() => this.load(each)), Promise.resolve());
    this.load(url).then(() => {
      const waiting = this.waiting;
      this.waiting = null;
      waiting.forEach((data) => this.deliver(data));
    });
  }

  load(url) {
    return new Promise((resolve, reject) => {
      const script = this.inner.document.createElement("script");
      Object.assign(script, { src: url, onload: resolve, onerror: reject });
      this.inner.document.body.append(script);
    });
  }

  deliver(data) {
    this.inner.dispatchEvent(new MessageEvent("message", { data }));
  }

  postMessage(data) {
    if (this.waiting) this.waiting.push(data);
    else this.deliver(data);
  }

  terminate() {
    this.inner.frameElement.remove();
  }
}

if (location.protocol === "file:") Object.assign(window, { IFrameWorker, Worker: IFrameWorker });
