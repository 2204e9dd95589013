// Search in pages that are opened from a folder. There a browser starts no worker, so the search's program runs in a
// hidden frame, which is told and tells the same things.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const waiting = [];
      let tell = (data) => waiting.push(data);
      const frame = document.createElement("iframe");
      frame.style.display = "none";
      frame.srcdoc = "<!doctype html><title>search</title>";
      frame.addEventListener("load", () => {
        const inside = frame.contentWindow;
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        const program = inside.document.createElement("script");
        program.src = new URL(url, location.href).href;
        program.addEventListener("load", () => {
          tell = (data) => inside.dispatchEvent(new inside.MessageEvent("message", { data }));
          waiting.splice(0).forEach((data) => tell(data));
        });
        inside.document.head.append(program);
      }, { once: true });
      document.documentElement.append(frame);
      this.postMessage = (data) => tell(data);
    }
  };
}
