// The dividers between the picture before and the one after. Without this script both pictures are shown in full.
for (const pair of document.querySelectorAll(".pair")) {
  const [box, slider, left] = [".compare", "[type=range]", "select"].map((each) => pair.querySelector(each));
  const slide = () => box.style.setProperty("--at", `${slider.value}%`);
  const show = () => {
    for (const image of box.querySelectorAll("[data-side]")) image.hidden = image.dataset.side !== left.value;
  };
  for (const part of pair.querySelectorAll("[data-script]")) part.hidden = false;
  pair.classList.add("active");
  slider.addEventListener("input", slide);
  for (const type of ["pointerdown", "pointermove"]) {
    box.addEventListener(type, (event) => {
      if (!event.buttons) return;
      const { left: start, width } = box.getBoundingClientRect();
      slider.value = (100 * (event.clientX - start)) / width;
      box.setPointerCapture(event.pointerId);
      slide();
    });
  }
  left?.addEventListener("input", show);
  if (left) show();
  slide();
}
